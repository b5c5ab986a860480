"""The from-scratch model as one HTML page: it runs in the browser, with its weights inside."""
