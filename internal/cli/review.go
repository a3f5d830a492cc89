package cli

import "github.com/spf13/cobra"

func (a *app) reviewCommands() *cobra.Command {
	return group("review", "Review what a new version of a chart changes", a.reviewNotesCommand())
}
