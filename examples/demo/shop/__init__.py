"""An ordinary Celery project: nothing in this folder knows which worker will run it."""

from shop.celery import app

__all__ = ["app"]
