package faults

import (
	"os"
	"testing"

	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
	"github.com/chartkeep/chartkeep/internal/store/storetest/pgtest"
)

func TestMain(m *testing.M) { os.Exit(daemontest.Run(runner{m})) }
