"""Who may do what: roles and actions, the person or part behind a change, secrets, and where we listen and call."""
