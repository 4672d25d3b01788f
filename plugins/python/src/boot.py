# What `python -c` runs in a zygote: argv is MODULE BUILD FD. It refuses an interpreter that can't be used in one
# sentence, so it must parse on any Python since 2.7. Nothing of it stays in __main__, which is the application's.
def boot():
    import os
    import sys
    del sys.modules["__main__"].boot
    path, build, fd = sys.argv[1], sys.argv[2], int(sys.argv[3])

    def refuse(why):
        # 'R' is FromZygote::Refused; the socket keeps the message whole.
        os.write(fd, ("R" + why).encode("utf-8", "replace")[:16000])
        os._exit(1)

    kind = getattr(getattr(sys, "implementation", None), "name", "Python").replace("cpython", "CPython")
    name = "%s %d.%d.%d (%s)" % ((kind,) + sys.version_info[:3] + (sys.executable or "python",))
    if sys.version_info < (3, 9):
        refuse(name + " is too old: CPython 3.9 or later is needed")
    if kind != "CPython":
        refuse(name + " can't be used: CPython 3.9 or later is needed")
    if "t" in sys.abiflags:
        refuse(name + " is a free-threaded build, which has no stable ABI: a build with the GIL is needed")
    # uWSGI's first entry; -c puts an empty one there unless PYTHONSAFEPATH forbids it.
    sys.path[:1 if sys.path[:1] == [""] else 0] = ["."]
    sys.argv = ["uwsgi"]
    try:
        from importlib.machinery import ExtensionFileLoader
        from importlib.util import module_from_spec, spec_from_file_location
        loader = ExtensionFileLoader("ruwsgi_python", path)
        module = module_from_spec(spec_from_file_location("ruwsgi_python", path, loader=loader))
        loader.exec_module(module)
    except ImportError as error:
        refuse("%s can't load the extension module: %s" % (name, error))
    if path.startswith("/proc/self/fd/"):
        # It is mapped: the descriptor would be inherited by what the application starts.
        os.close(int(path[14:]))
    if module.BUILD != build:
        refuse("the extension module is of build %s, ruwsgi of build %s" % (module.BUILD, build))
    module.run(fd)


boot()
