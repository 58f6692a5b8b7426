"""`python -m app.cli`: the same as the command `weakpoints`."""

from app.cli.main import main

raise SystemExit(main())
