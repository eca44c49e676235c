"""config.json: schema, loader, checks, template, features."""
