"""The results matrix without screens: columns, cells, totals, exports, ratings in place."""
