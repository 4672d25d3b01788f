"""Shelves, and the documents that stand on them."""
from django.db import models


class Shelf(models.Model):
    name = models.CharField(max_length=80, unique=True)

    class Meta:
        ordering = ["name"]
        verbose_name_plural = "shelves"

    def __str__(self):
        return self.name


class Document(models.Model):
    shelf = models.ForeignKey(Shelf, on_delete=models.CASCADE, related_name="documents")
    title = models.CharField(max_length=200)
    file = models.FileField(upload_to="documents")
    sha256 = models.CharField(max_length=64, editable=False)

    class Meta:
        ordering = ["title"]

    def __str__(self):
        return self.title
