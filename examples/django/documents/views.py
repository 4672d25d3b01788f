"""The pages of the site. Uploading needs a user who is logged in; reading does not."""
from django.contrib.auth.decorators import login_required
from django.http import FileResponse, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_safe

from .forms import UploadForm
from .models import Document, Shelf


@require_safe
def index(request):
    return render(request, "documents/index.html", {"shelves": Shelf.objects.prefetch_related("documents")})


@login_required
def upload(request):
    form = UploadForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        return redirect("detail", form.save().pk)
    return render(request, "documents/upload.html", {"form": form})


@require_safe
def detail(request, number):
    return render(request, "documents/detail.html", {"document": get_object_or_404(Document, pk=number)})


@require_safe
def file(request, number):
    """The file as it came: Django hands it to `wsgi.file_wrapper`."""
    document = get_object_or_404(Document, pk=number)
    return FileResponse(document.file.open("rb"), as_attachment=True, filename=f"document-{number}")


@require_safe
def hexadecimal(request, number):
    """The file in hexadecimal digits, made while it is sent: nobody knows its length before."""
    document = get_object_or_404(Document, pk=number)
    lines = (chunk.hex() + "\n" for chunk in document.file.chunks(32 * 1024))
    return StreamingHttpResponse(lines, content_type="text/plain")
