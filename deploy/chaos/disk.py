"""A disk that loses what is not synced, becomes full, and stands still."""

import asyncio
import errno
import os
import shutil

from processes import command, must, until

# What the node leaves free by default.
RESERVE_BYTES = 64 << 20
BLOCK = 4096


class Disk:
    """An ext4 in a file, under the server's data; the file is on a second ext4, in a file, too.

    What is not synced is not in the inner file, so a copy of that is what a power cut leaves. While
    the outer file system is frozen, no sync of the inner one comes to its end."""

    BYTES = 1 << 30

    def __init__(self, folder):
        self.outer, self.shelf, self.at = folder / "shelf-image", folder / "shelf", folder / "data"
        self.image, self.later = self.shelf / "disk", self.shelf / "disk-cut"
        self.filler = self.at / "filler"

    async def make(self, template):
        # Sparse: what is not written takes no room. A journal would only slow the outer one down.
        await self.format(self.outer, 3 * self.BYTES, "-O", "^has_journal")
        self.shelf.mkdir()
        await must("mount", "-o", "loop", self.outer, self.shelf)
        await self.format(self.image, self.BYTES)
        self.at.mkdir()
        await self.mount()
        await must("cp", "-r", f"{template}/.", self.at)
        await must("sync", "-f", self.at)

    @staticmethod
    async def format(path, size, *more):
        with open(path, "wb") as image:
            image.truncate(size)
        mkfs = shutil.which("mkfs.ext4") or "/sbin/mkfs.ext4"
        await must(mkfs, "-q", "-m", "0", *more, path)

    async def mount(self):
        await must("mount", "-o", "loop", self.image, self.at)

    async def copy(self):
        await must("cp", "--sparse=always", self.image, self.later)

    async def replace(self):
        await self.unmount(self.at)
        self.later.rename(self.image)
        await self.mount()

    async def fill(self, leave):
        """Takes all that is free, but for so much; to the last block where that is nothing."""
        await asyncio.to_thread(self.take, leave)

    def take(self, leave):
        with open(self.filler, "ab") as filler:
            has = 0
            while (wanted := self.free() - leave) >= BLOCK:
                # Others write meanwhile, and some of it goes for the map of the file.
                while wanted >= BLOCK:
                    try:
                        os.posix_fallocate(filler.fileno(), has, wanted)
                        has += wanted
                        break
                    except OSError as error:
                        if error.errno != errno.ENOSPC:
                            raise
                        wanted //= 2
                else:
                    break

    def free(self):
        of = os.statvfs(self.at)
        return of.f_bavail * of.f_frsize

    async def make_room(self):
        self.filler.unlink()
        # The room of a file that is gone is there when its going is synced.
        await must("sync", "-f", self.at)

    async def freeze(self, seconds):
        """No sync ends for so long."""
        await must("fsfreeze", "--freeze", self.shelf)
        try:
            await asyncio.sleep(seconds)
        finally:
            await must("fsfreeze", "--unfreeze", self.shelf)

    async def unmount(self, at):
        async def is_free():
            return (await command("umount", at))[0] == 0

        await until("the disk is free", is_free)

    async def remove(self):
        for at in (self.at, self.shelf):
            if os.path.ismount(at):
                await self.unmount(at)
