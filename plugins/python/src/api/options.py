class Options(dict):
    """uwsgi.opt: all that was said. It keeps the names that somebody has asked for: these are not unknown."""

    asked = set()

    def __getitem__(self, name):
        self.ask(name)
        return super().__getitem__(name)

    def __contains__(self, name):
        self.ask(name)
        return super().__contains__(name)

    def __iter__(self):
        self.asked.update(super().keys())
        return super().__iter__()

    def get(self, name, default=None):
        self.ask(name)
        return super().get(name, default)

    def keys(self):
        self.asked.update(super().keys())
        return super().keys()

    def values(self):
        self.asked.update(super().keys())
        return super().values()

    def items(self):
        self.asked.update(super().keys())
        return super().items()

    def copy(self):
        return dict(self)

    def ask(self, name):
        if super().__contains__(name):
            self.asked.add(name)
