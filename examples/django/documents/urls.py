"""The addresses of the documents."""
from django.urls import path

from . import views

urlpatterns = [
    path("", views.index, name="index"),
    path("upload", views.upload, name="upload"),
    path("documents/<int:number>", views.detail, name="detail"),
    path("documents/<int:number>/file", views.file, name="file"),
    path("documents/<int:number>/hex", views.hexadecimal, name="hex"),
]
