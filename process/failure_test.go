package process

import (
	"testing"

	"github.com/fincart/courier-gateway/ingest/event"
)

func TestClasses(t *testing.T) {
	t.Parallel()
	for code, want := range map[event.Code]class{
		event.Forged: permanent, event.Malformed: permanent, event.DomainInvalid: permanent, event.AttemptsExhausted: permanent, event.InvalidPayload: permanent,
		event.DependencyDown: down, event.Timeout: transient, event.Throttled: transient, event.VersionConflict: transient, event.Internal: transient, "UNHEARD_OF": transient,
	} {
		if got := classOf(code); got != want {
			t.Errorf("%s is of class %d, want %d", code, got, want)
		}
	}
}
