"""Reports: an account as a document, and the document as Word, PDF or Excel. Pure: values in, bytes out."""
