-- ARGV[2]: user
return is_elsewhere(ARGV[2], '') and 1 or 0
