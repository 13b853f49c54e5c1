-- What Lua programs do: tables, strings, closures, method calls, integers and floats. Returns rounds and a check.
local rounds = math.max(1, math.floor(60 * scale + 0.5))

local Account = {}
Account.__index = Account
function Account.new(owner) return setmetatable({ owner = owner, balance = 0, log = {} }, Account) end
function Account:deposit(amount)
  self.balance = self.balance + amount
  self.log[#self.log + 1] = self.owner .. ":" .. amount
end

local function counter(step)
  local n = 0
  return function()
    n = n + step
    return n
  end
end

local function words(seed)
  local state, out = seed, {}
  for i = 1, 2000 do
    state = (state * 1103515245 + 12345) % 2147483648
    out[i] = ("w%x"):format(state % 500)
  end
  return out
end

local check = 0
for round = 1, rounds do
  local count = {}
  for _, word in ipairs(words(round)) do
    count[word] = (count[word] or 0) + 1
  end
  local keys = {}
  for word in pairs(count) do
    keys[#keys + 1] = word
  end
  table.sort(keys, function(a, b) return count[a] > count[b] or count[a] == count[b] and a < b end)
  local account = Account.new(keys[1])
  local next_amount = counter(7)
  for i = 1, 2000 do
    account:deposit(next_amount() % 100)
  end
  local text = table.concat(account.log, ",")
  local digits = 0
  for number in text:gmatch(":(%d+)") do
    digits = digits + #number
  end
  local x = 0.5
  for _ = 1, 20000 do
    x = 3.7 * x * (1.0 - x)
  end
  check = (check * 31 + account.balance + digits + #keys + math.floor(x * 1000000)) % 1000000007
end
return rounds, ("%x"):format(math.tointeger(check))
