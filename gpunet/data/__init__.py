"""What comes in: data sets, arrays, tables, files, and the sets that come with the package."""
