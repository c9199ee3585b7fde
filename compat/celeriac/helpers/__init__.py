"""Small helpers that the `celery.utils` namespace is made of. Spec: app-and-cli#10.2."""
