"""Takes dead letters back, lists what can't be stored, and drops what a person has reviewed.

    iot-receiver redrive          store what can be stored, delete what is stored
    iot-receiver redrive list     change nothing; say what a redrive would do
    iot-receiver redrive drop --queue rule|receiver --reason REASON [--device DEVICE]
                                  delete the dead letters of one kind

Settings come from the receiver's own environment variables. The exit status is 0 when every dead letter was looked
at, 1 when the run ended early, 2 when it can't start. Progress goes to standard output as JSON, one object a line. The
last line is the result:

    {"event": "redrive_finished" | "redrive_listed" | "redrive_dropped",
     "problem": "" or why the run ended early,
     "queues": {"rule" | "receiver": {
        "letters": dead letters looked at,
        "redriven": readings stored now,             "already_stored": readings that the table had,
        "storable": readings that a redrive would store or find stored (list and drop: of dead letters not touched),
        "rejected": messages that are no readings,   "dropped": dead letters deleted without being stored,
        "left": dead letters that another run may settle: queued after the start, or not reached,
        "kept": ids of dead letters with a rejected message (the first 50), "kept_letters": how many those are,
        "reasons": {reason: messages} (the 50 most frequent),
        "kinds": [{"reason", "device", "messages", "letters", "first", "last", "payload"}] (the 100 most frequent)
     }}}

A kind is what `drop` takes: one queue, one reason and, if given, one device (the publisher's client id, where IoT Core
says it; else the message's deviceId; else ""). `first` and `last` are times of queueing, UTC ISO-8601; `payload` holds
the first 200 characters of one of the messages, bytes that are not UTF-8 as \\xff.

`drop` needs the reason exactly as listed. A dead letter of a batch may hold readings as well: those are stored before
it is deleted. One that also holds a message rejected for another reason is kept.
"""
