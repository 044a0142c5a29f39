"""The API's language, without I/O: metadata, kinds, schema, patches, selectors, errors."""
