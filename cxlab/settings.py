"""Django's settings. What a deployment may change comes from the environment (`cxlab/env.py`)."""

from __future__ import annotations

import os
from pathlib import Path

from cxlab import env

ROOT = Path(__file__).resolve().parent.parent
ENVIRONMENT = env.read(os.environ, root=ROOT)

DEBUG = ENVIRONMENT.debug
SECRET_KEY = ENVIRONMENT.secret_key
ALLOWED_HOSTS = ENVIRONMENT.allowed_hosts
CSRF_TRUSTED_ORIGINS = [f"https://{host.lstrip('.')}" for host in ALLOWED_HOSTS if host != "*"]
VAR = ENVIRONMENT.var
DATABASES = {"default": ENVIRONMENT.database}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "labeling",
    "calibration",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "cxlab.errors.RefusedMiddleware",
]
ROOT_URLCONF = "cxlab.urls"
WSGI_APPLICATION = "cxlab.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "calibration.context.navigation",
            ],
        },
    }
]

AUTH_USER_MODEL = "labeling.User"
AUTHENTICATION_BACKENDS = ["django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 8}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "sign-in"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "sign-in"
SESSION_COOKIE_AGE = 14 * 24 * 3600
SESSION_COOKIE_SAMESITE = "Lax"
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True

STATIC_URL = "static/"
STATICFILES_DIRS = [ROOT / "static"]
STATIC_ROOT = VAR / "static"
# Hashed names for ever-lasting caches; tests and DEBUG serve the files as they lie in the folder.
WHITENOISE_USE_FINDERS = DEBUG
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": VAR / "files"}},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# Bodies are read as streams by the doors that expect large ones, each with its own limit.
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024
FILE_UPLOAD_TEMP_DIR = None

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "labeling.tokens.TokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["labeling.tokens.HasScope"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_PAGINATION_CLASS": "labeling.api.paging.CursorPages",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "cxlab.errors.problem",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "cxlab",
    "DESCRIPTION": "Human labels, gold datasets and calibration evidence for customer-experience signals.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "ENUM_NAME_OVERRIDES": {
        "QueueState": "labeling.models.Queue.State",
        "FlagState": "calibration.models.DriftFlag.State",
        "FlagKind": "calibration.models.DriftFlag.Kind",
        "SubscriptionKind": "labeling.models.Subscription.Kind",
        "SubscriptionEvent": "labeling.models.Subscription.Event",
        "DeliveryState": "labeling.models.Delivery.State",
    },
}

CELERY_BROKER_URL = ENVIRONMENT.broker_url or "filesystem://"
if ENVIRONMENT.broker_url is None:
    # The embedded broker: messages are files in one folder, which every process of this machine reads.
    _BROKER = {name: VAR / "broker" / name for name in ("messages", "control")}
    for _folder in _BROKER.values():
        _folder.mkdir(parents=True, exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_BROKER["messages"]),
        "data_folder_out": str(_BROKER["messages"]),
        "control_folder": str(_BROKER["control"]),
        "store_processed": False,
    }
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_TIME_LIMIT = 3600
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_SERIALIZER = "json"
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(VAR / "beat-schedule")
CELERY_BEAT_SCHEDULE = {
    "evaluate-monitors": {"task": "calibration.evaluate_monitors", "schedule": 15 * 60.0},
    "deliver-notices": {"task": "labeling.deliver_due", "schedule": 30.0},
    "open-canary-rounds": {"task": "calibration.open_canary_rounds", "schedule": 30 * 60.0},
    "store-pairs": {"task": "calibration.store_pairs", "schedule": 5 * 60.0},
    # Expires before the next one comes, so that a worker that was busy finds one of them, not a hundred.
    "work-traces": {"task": "calibration.work_traces", "schedule": 5.0, "options": {"expires": 5.0}},
    "work-runs": {"task": "calibration.work_runs", "schedule": 10.0, "options": {"expires": 10.0}},
    "measure-transcriptions": {"task": "calibration.measure_transcriptions", "schedule": 5 * 60.0},
}

# Notifications: webhooks go to public addresses over https unless a deployment allows private ones and http; without a
# mail server, mail is written to files.
WEBHOOKS_PRIVATE = ENVIRONMENT.webhooks_private
EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
EMAIL_FILE_PATH = str(VAR / "mail")
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = ENVIRONMENT.mail_from
vars().update(ENVIRONMENT.mail)

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": "INFO"},
}
