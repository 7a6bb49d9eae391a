package main

import (
	"testing"

	"github.com/fincart/courier-gateway/persistence"
)

// TestEachRoleWritesRowsOfItsOwn: a service that only receives must not have a say in
// how long the others keep events.
func TestEachRoleWritesRowsOfItsOwn(t *testing.T) {
	for role, want := range map[string]persistence.MongoRows{
		roleIngest: persistence.MongoIngestions, roleProcess: persistence.MongoEvents,
		roleAll: persistence.MongoIngestions | persistence.MongoEvents,
	} {
		if got := rowsWritten(role); got != want {
			t.Errorf("role %s writes %b, want %b", role, got, want)
		}
	}
}
