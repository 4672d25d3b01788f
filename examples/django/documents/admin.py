"""What the administration shows."""
from django.contrib import admin

from .models import Document, Shelf

admin.site.register(Shelf)
admin.site.register(Document)
