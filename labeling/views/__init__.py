"""The pages of labelling: door, form, one verb, answer."""
