package threats

import (
	"os"
	"testing"

	"github.com/chartkeep/chartkeep/internal/daemon/daemontest"
)

func TestMain(m *testing.M) { os.Exit(daemontest.Run(withSwitches{m})) }
