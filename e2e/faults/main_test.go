package faults

import (
	"os"
	"testing"

	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
	"github.com/chartkeep/chartkeep/internal/store/storetest/pgtest"
)

// withPostgres runs the tests and then stops PostgreSQL, if one was started.
type withPostgres struct{ m *testing.M }

func (w withPostgres) Run() int { return pgtest.Run(w.m) }

func TestMain(m *testing.M) { os.Exit(daemontest.Run(withPostgres{m})) }
