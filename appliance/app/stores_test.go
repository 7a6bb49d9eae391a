package app

import (
	"testing"

	"github.com/fincart/courier-gateway/appliance/config"
	"github.com/fincart/courier-gateway/persistence/mongo"
)

// TestEachRoleWritesRowsOfItsOwn: a service that only receives must not have a say in
// how long the others keep events.
func TestEachRoleWritesRowsOfItsOwn(t *testing.T) {
	for role, want := range map[string]mongo.Rows{
		config.RoleIngest: mongo.IngestionRecords, config.RoleProcess: mongo.Events,
		config.RoleAll: mongo.IngestionRecords | mongo.Events,
	} {
		if got := rowsWritten(role); got != want {
			t.Errorf("role %s writes %b, want %b", role, got, want)
		}
	}
}
