package jetstream

import "strconv"

// Identity names the stream of the events: another one of the same name, made after the
// first was deleted, has another identity.
func (b *Broker) Identity() string { return strconv.FormatInt(b.birth(), 10) }
