"""Language models: where they come from, their sites, and the engine that runs them from a site onward."""
