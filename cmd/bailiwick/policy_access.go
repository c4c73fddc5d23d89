package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/bailiwick-dev/bailiwick/policy"
)

// accessFlags say what a request for access is about: for the actions Access.Request, Access.Approve and their like.
type accessFlags struct {
	role, minutes, requester, manager string
	wanted                            []string
	breakGlass                        bool
}

func (f *accessFlags) register(c *cobra.Command) {
	s := c.Flags()
	s.StringVar(&f.role, "role", "", "for Access.*: the role that is asked for")
	s.StringArrayVar(&f.wanted, "wanted", nil, "for Access.*: an action that is asked for, instead of a role; may be repeated")
	s.StringVar(&f.minutes, "for", "", "for Access.*: how long it is asked for, such as 1h")
	s.StringVar(&f.requester, "requester", "", `for Access.*: who asks, as the log names them: "user:ISSUER|ID"`)
	s.StringVar(&f.manager, "requester-manager", "", "for Access.*: the manager of who asks, named alike")
	s.BoolVar(&f.breakGlass, "break-glass", false, "the grant is, or the request asks for, one without waiting for approval")
	must(c.RegisterFlagCompletionFunc("role", cobra.FixedCompletions([]string{"read", "write", "worker", "admin"}, cobra.ShellCompDirectiveNoFileComp)))
	must(c.RegisterFlagCompletionFunc("wanted", completeActions))
}

// fill puts the flags into a context. What is missing of a request that the caller makes themselves is filled in.
func (f *accessFlags) fill(c *cobra.Command, req *policy.Request, action policy.Action) error {
	at := &req.Context
	at.Role, at.Requester, at.Manager, at.BreakGlass = f.role, f.requester, f.manager, f.breakGlass
	for _, name := range f.wanted {
		wanted, err := findAction(c, name)
		if err != nil {
			return err
		}
		at.Wanted = append(at.Wanted, wanted.Name)
	}
	if f.minutes != "" {
		d, err := duration(f.minutes)
		if err != nil || d <= 0 {
			return badUsage(c, "--for is %q; a duration such as 30m, 2h or 1d is needed", f.minutes)
		}
		at.Minutes = int((d + time.Minute - 1) / time.Minute)
	}
	if action.Name == policy.AccessRequest && at.Requester == "" {
		at.Requester = req.Principal.Principal()
	}
	return nil
}
