package access

// Settings are what access.yaml says.
type Settings struct {
	Rules  Rules       // defaults of what policy does not say
	Link   string      // URL of a request's page, with {id}; default none
	Groups []GroupRole // roles that group memberships carry
}

// GroupRole lets membership of a group carry a role in a namespace, instead of a grant that gates know.
type GroupRole struct {
	Namespace string
	Role      string
	Group     string // name or id, as the Groups interface takes it
}

// backend chooses how a request takes effect: by group only where all that the group gives is asked for.
func (s *Settings) backend(a *Asked) (backend, group string) {
	if a.WorkflowType == "" && a.WorkflowID == "" && a.RunID == "" && a.TaskQueue == "" {
		for _, g := range s.Groups {
			if g.Namespace == a.Namespace && g.Role == a.Role && a.Role != "" {
				return Okta, g.Group
			}
		}
	}
	return Native, ""
}
