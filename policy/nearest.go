package policy

import "strings"

// nearest returns the candidate that the reader most likely meant by word, or "" when none is close.
func nearest(word string, candidates []string) string {
	best, bestCost := "", len(word)/3+2
	low := strings.ToLower(word)
	for _, c := range candidates {
		cost := editDistance(low, strings.ToLower(c))
		if cost > 2 && len(low) >= 6 && (strings.HasPrefix(strings.ToLower(c), low) || strings.HasSuffix(strings.ToLower(c), "."+low)) {
			cost = 2 // "StartWorkflow" means StartWorkflowExecution, "DeleteNamespace" means Operator.DeleteNamespace; a slip of one letter is nearer
		}
		if cost < bestCost {
			best, bestCost = c, cost
		}
	}
	return best
}

// editDistance is the Levenshtein distance in bytes. Long words are not compared: they are nobody's slip of the finger.
func editDistance(a, b string) int {
	if len(a) > 100 || len(b) > 100 {
		return len(a) + len(b)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			substitute := diagonal
			if a[i] != b[j] {
				substitute++
			}
			diagonal = row[j+1]
			row[j+1] = min(substitute, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
