package identity

import "slices"

// actors reads a delegation chain (RFC 8693 section 4.1), outermost actor first.
func actors(m member) ([]Actor, *Error) {
	var chain []Actor
	for v := m.value; v != ""; {
		if v[0] != '{' {
			return nil, malformed("claim act is not an object")
		}
		if len(chain) == maxActors {
			return nil, malformed("claim act is nested too deeply")
		}
		var room [8]member
		members, err := parseObject(v, room[:0])
		if err != nil {
			return nil, malformed("claim act is malformed: " + err.Error())
		}
		var a Actor
		v = ""
		for _, m := range members {
			var bad *Error
			switch m.name {
			case "sub":
				a.Subject, bad = name(m)
			case "sub_profile":
				a.Profile, bad = name(m)
			case "act":
				v = m.value
			default:
				if f := folded(m.name); f == "sub" || f == "sub_profile" || f == "act" {
					bad = malformed("claim act has a case variant of a known member")
				}
			}
			if bad != nil {
				return nil, bad
			}
		}
		switch {
		case a.Subject == "":
			return nil, reject(CodeSubject, "an actor of the delegation chain has no subject")
		case folded(a.Profile) == reservedType || reservedName(a.Subject):
			return nil, reject(CodeSubject, "principal type \"temporal\" is reserved")
		case slices.ContainsFunc(chain, func(b Actor) bool { return b.Subject == a.Subject }):
			return nil, reject(CodeSubject, "the delegation chain names one actor twice")
		}
		chain = append(chain, a)
	}
	return chain, nil
}
