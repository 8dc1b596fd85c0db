"""What commands share of their command line: options, the types of their values, and the run that they are typed in."""
