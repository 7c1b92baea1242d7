"""The program: settings, embedded Postgres, migrations, command line. The only place that knows everyone."""
