"""Celeriac's conformance harness: it runs real Celery and our worker as programs and compares what they do."""
