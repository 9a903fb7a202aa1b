"""Lists come in pages with a cursor, so that a page stays the same page while rows arrive."""

from __future__ import annotations

from rest_framework.pagination import CursorPagination


class CursorPages(CursorPagination):
    """`?limit=` rows a page (at most 1,000), newest last."""

    ordering = "id"
    page_size = 100
    page_size_query_param = "limit"
    max_page_size = 1000
