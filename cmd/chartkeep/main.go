// Command chartkeep is the server and the command line of Chartkeep, a Helm
// chart registry in which a released chart can never change.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/chartkeep/chartkeep/internal/cli"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process at once.
	context.AfterFunc(ctx, stop)
	return cli.Main(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr, os.Environ())
}
