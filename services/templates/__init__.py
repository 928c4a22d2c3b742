"""What `carnet new` writes: text with `${name}` where a name goes (`services.cli.new`)."""
