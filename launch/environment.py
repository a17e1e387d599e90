"""What Ray reads from the environment when it is imported, so that it stands before any module here imports Ray.

Workers inherit it.  A value that the caller has set stands.
"""

import os

GROUP_SECONDS = 300  # a collective that takes longer has lost a rank

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",  # reports are committed at this pace
    "RAY_TRAIN_WORKER_HEALTH_CHECK_TIMEOUT_S": "120",
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "60",
    "RAY_TRAIN_COLLECTIVE_TIMEOUT_S": str(GROUP_SECONDS),
    "TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S": "5",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # Slurm's and Ray's signals come to the driver; it costs a process
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
os.environ |= {name: os.environ.get(name, value) for name, value in ENVIRONMENT.items()}
os.environ.pop("RAY_TRAIN_CALLBACKS", None)  # names classes to import
if not os.environ.get("RAY_ADDRESS"):
    os.environ["RAY_AUTH_MODE"] = "token"
