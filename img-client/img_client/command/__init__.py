"""The command `img`: files and folders in, pictures out, through a service or on this machine.

`app` has the subcommands; `plan` decides what is rendered and where it goes; `batch` renders many at a time, by
`service` or by `local`; `report` tells how it went.
"""
