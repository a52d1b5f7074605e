"""People arrive: they are invited, accept on a page of the bridge, get an account, are welcomed and announced."""
