"""Jobs beyond one machine: an S3-compatible store keeps them, and Celery on RabbitMQ delivers them."""
