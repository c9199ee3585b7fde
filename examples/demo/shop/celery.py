"""The application object, as `celery -A shop` and `celeriac -A shop` find it."""

from celery import Celery

app = Celery("shop", include=["shop.tasks"])
app.config_from_object("shop.celeryconfig")
