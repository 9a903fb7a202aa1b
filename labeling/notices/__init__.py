"""What happens here, told to whoever asked for it: by webhook and by mail, once, with a log."""
