"""An Atlas to one offline HTML page."""
