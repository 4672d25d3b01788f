"""The form that takes an upload."""
import hashlib

from django import forms

from .models import Document


class UploadForm(forms.ModelForm):
    class Meta:
        model = Document
        fields = ["shelf", "title", "file"]

    def save(self, commit=True):
        digest = hashlib.sha256()
        for chunk in self.cleaned_data["file"].chunks():
            digest.update(chunk)
        self.instance.sha256 = digest.hexdigest()
        return super().save(commit)
