"""Golden records: what each pinned version of Celery puts on the wire for a fixed list of calls.

=============  =====================================================================================================
`scenarios`    what is done, as data
`traffic`      what of the broker's traffic is a message, a result, an event, a command or a reply
`capture`      does the scenarios with one version on one broker, and gathers the traffic
`files`        the records as files, and their schema
`compare`      two recordings of one version, up to ids, times, processes and hosts
=============  =====================================================================================================
"""
