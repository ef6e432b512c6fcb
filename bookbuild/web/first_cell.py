# @title Looks for the helper of the book; silent where all is well
def look_for_helper(version, wheel, address, page):
    import importlib.metadata
    import importlib.util
    import os
    import subprocess
    import sys

    near = [path for path in (wheel, f"../{wheel}") if os.path.exists(path)]
    source = near[0] if near else address
    install = f"%pip install {source or wheel}"
    if importlib.util.find_spec("d2l_helpers") is None:
        services = ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE")
        hosted = any(name in os.environ for name in services)
        if hosted and source:  # a machine that is thrown away after use
            pip = [sys.executable, "-m", "pip", "install", "-q", source]
            if subprocess.run(pip).returncode == 0:
                importlib.invalidate_caches()
                return
        say = "This notebook needs the helper of the book: "
        if not source:
            say += f"put {wheel} beside it (from where you got it), and "
        say += "run this in a new cell, then this cell again:"
        say += f"\n\n    {install}\n"
        if source == address and page:
            say += f"\nIf it is no longer there, {page} names the newest."
        if hosted:
            say += "\nThe machine needs access to the internet for this."
        error = ModuleNotFoundError(say)
        # Jupyter shows this instead of the lines of this cell.
        error._render_traceback_ = lambda: say.split("\n")
        raise error
    try:
        found = importlib.metadata.version("d2l-helpers")
    except importlib.metadata.PackageNotFoundError:
        found = "from a folder"
    if found != version:
        say = f"The helper of the book is {found}, not {version}"
        say += " as where this notebook was made."
        if "+" in found:  # a wheel, not a checkout of the book
            say += f" If something fails: {install}, then restart the kernel."
        print(say)
