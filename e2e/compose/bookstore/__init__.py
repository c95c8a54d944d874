"""Tests of docker-compose.yml, the bookstore at the top of the checkout."""
