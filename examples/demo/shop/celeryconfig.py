"""Settings; the environment says which broker and where results are kept."""

import os

broker_url = os.environ["SHOP_BROKER_URL"]
result_backend = os.environ["SHOP_RESULT_BACKEND"]
result_extended = True
broker_connection_retry_on_startup = True
worker_send_task_events = False

if broker_url.startswith("filesystem:"):
    folder = os.environ["SHOP_FOLDER"]
    broker_transport_options = {
        "data_folder_in": f"{folder}/queue",
        "data_folder_out": f"{folder}/queue",
        "control_folder": f"{folder}/control",
        "polling_interval": 0.05,
    }
