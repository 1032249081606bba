"""Other programs that drive fastnet: each module needs the package that it is named after."""
