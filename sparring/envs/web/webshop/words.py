"""The vocabulary of the made-up catalogue: kinds of product, features, options and the way people ask.

Everything here is our own. Brand and collection names are built from syllables (`coined`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of product.

    Attributes:
        name: singular, as titles have it. plural: the shop's own name of the shelf, its `query`.
        category: one of the five. shelf: the middle of the category path.
        pools: names of the feature pools that fit. groups: option groups to draw from.
        price: usual prices in US dollars, from and to.
    """

    name: str
    plural: str
    category: str
    shelf: str
    pools: tuple[str, ...]
    groups: tuple[str, ...]
    price: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Feature:
    """Something a product is or has.

    Attributes:
        name: the attribute. noun: whether it reads "with NAME" rather than standing before the noun.
        said: how else people put it, as a clause that begins with "that".
    """

    name: str
    noun: bool
    said: str


DEPARTMENTS = {
    "beauty": "Beauty & Care",
    "electronics": "Electronics",
    "garden": "Home & Garden",
    "fashion": "Clothing & Shoes",
    "grocery": "Grocery & Pantry",
}

# category; shelf; pools; option groups; price range; "singular/plural" names
_SHELVES = """
beauty; Skin Care; skin cosmetic; scent volume; 6 48; face cream/face creams, hand cream/hand creams, body
  lotion/body lotions, eye serum/eye serums, clay mask/clay masks, facial toner/facial toners, foot balm/foot balms
beauty; Bath; skin cosmetic; scent pack; 4 30; body wash/body washes, bath bomb/bath bombs, shower gel/shower gels,
  soap bar/soap bars, sugar scrub/sugar scrubs
beauty; Hair Care; hair cosmetic; scent volume; 6 40; hair mask/hair masks, shampoo bar/shampoo bars, hair oil/hair
  oils, styling wax/styling waxes, beard oil/beard oils
beauty; Make Up; cosmetic skin; color finish; 5 35; lip balm/lip balms, nail polish/nail polishes, eye shadow/eye
  shadows, setting powder/setting powders, brow pencil/brow pencils
beauty; Tools; tool; color pack; 4 60; hair brush/hair brushes, makeup sponge/makeup sponges, nail file/nail files,
  hair clip/hair clips, hand mirror/hand mirrors
electronics; Computers; device desktop; color connection; 12 160; wireless mouse/wireless mice, mechanical
  keyboard/mechanical keyboards, laptop stand/laptop stands, usb hub/usb hubs, monitor arm/monitor arms, web
  camera/web cameras
electronics; Phones; phone device; color model; 6 60; phone case/phone cases, phone stand/phone stands, screen
  protector/screen protectors, car mount/car mounts, selfie stick/selfie sticks
electronics; Power; power device; color length; 8 90; charging cable/charging cables, wall charger/wall chargers,
  power bank/power banks, extension cord/extension cords, travel adapter/travel adapters
electronics; Audio; audio device; color connection; 15 240; bluetooth speaker/bluetooth speakers, gaming
  headset/gaming headsets, earphone set/earphone sets, desk microphone/desk microphones, record player/record
  players
electronics; Photo; photo device; color capacity; 9 260; memory card/memory cards, ring light/ring lights, camera
  strap/camera straps, camera tripod/camera tripods, photo printer/photo printers
garden; Furniture; furniture; color dimension; 45 890; console table/console tables, bar stool/bar stools, office
  chair/office chairs, side table/side tables, bed frame/bed frames, shoe rack/shoe racks, kitchen cart/kitchen
  carts
garden; Lighting; light furniture; color finish; 18 220; floor lamp/floor lamps, table lamp/table lamps, wall
  sconce/wall sconces, pendant light/pendant lights, string light/string lights
garden; Textiles; textile; color dimension; 9 140; throw pillow/throw pillows, area rug/area rugs, shower
  curtain/shower curtains, bath mat/bath mats, duvet cover/duvet covers, table runner/table runners
garden; Decor; decor; color dimension; 7 90; picture frame/picture frames, candle holder/candle holders, flower
  vase/flower vases, wall clock/wall clocks, storage basket/storage baskets
garden; Outdoor; outdoor; color length; 10 180; garden hose/garden hoses, plant pot/plant pots, watering
  can/watering cans, patio umbrella/patio umbrellas, bird feeder/bird feeders, folding chair/folding chairs
fashion; Bags; bag; color dimension; 18 180; messenger bag/messenger bags, tote bag/tote bags, travel
  backpack/travel backpacks, coin purse/coin purses, gym bag/gym bags
fashion; Shoes; shoe; color shoe; 22 160; running shoe/running shoes, hiking boot/hiking boots, ankle boot/ankle
  boots, house slipper/house slippers, canvas sneaker/canvas sneakers, beach sandal/beach sandals
fashion; Tops; garment; color clothes; 10 70; polo shirt/polo shirts, dress shirt/dress shirts, knit sweater/knit
  sweaters, graphic tee/graphic tees, fleece hoodie/fleece hoodies, denim vest/denim vests
fashion; Bottoms; garment; color clothes; 14 80; cargo pants/cargo pants, yoga leggings/yoga leggings, swim
  shorts/swim shorts, pencil skirt/pencil skirts, denim jeans/denim jeans
fashion; Outerwear; garment outdoorwear; color clothes; 30 240; rain jacket/rain jackets, puffer coat/puffer coats,
  wool scarf/wool scarves, winter glove/winter gloves, baseball cap/baseball caps
grocery; Snacks; food snack; flavor pack; 4 45; granola bar/granola bars, potato chip/potato chips, rice
  cracker/rice crackers, trail mix/trail mixes, popcorn bag/popcorn bags, beef jerky/beef jerkies
grocery; Sweets; food snack; flavor weight; 3 40; chocolate bar/chocolate bars, gummy candy/gummy candies, oat
  cookie/oat cookies, fruit jam/fruit jams, honey jar/honey jars
grocery; Drinks; drink food; flavor pack; 5 60; herbal tea/herbal teas, ground coffee/ground coffees, sparkling
  water/sparkling waters, protein shake/protein shakes, cocoa mix/cocoa mixes
grocery; Pantry; food; flavor weight; 3 36; pasta sauce/pasta sauces, hot sauce/hot sauces, olive oil/olive oils,
  peanut butter/peanut butters, spice blend/spice blends, tomato soup/tomato soups, cake mix/cake mixes
"""

# pool; features "name = how else people put it"; a leading + marks those that read "with NAME"
_POOLS = """
skin; cruelty free = that was not tested on animals, fragrance free = that has no perfume in it, paraben free = that
  leaves out parabens, long lasting = that holds all day, fast absorbing = that sinks in quickly, oil free = that
  does not feel greasy, deep cleansing = that really gets pores clean, +vitamin c = that brings a citrus vitamin,
  +coconut oil = that has something of the coconut, +green tea = that has tea leaf in it, +shea butter = that is
  rich in karite, +aloe vera = that is made from a cactus like plant
cosmetic; vegan formula = that uses nothing from animals, dermatologist tested = that skin doctors have checked,
  alcohol free = that does not sting, sulfate free = that does not foam harshly, travel size = that fits into hand
  luggage, +natural ingredients = that is made from plants only, +sensitive skin care = that is kind to irritated
  skin
hair; color safe = that keeps dyed hair bright, anti frizz = that tames flyaways, heat protecting = that shields
  from blow dryers, damage repair = that mends split ends, volume boosting = that makes it look fuller, quick drying
  = that dries fast, +argan oil = that has moroccan nut oil, +tea tree = that has a medicinal leaf in it, +keratin
  protein = that strengthens each strand
tool; easy clean = that rinses off without trouble, double sided = that works on both faces, non slip = that stays
  in the hand, heavy duty = that survives rough use, eco friendly = that is good for the planet, travel friendly =
  that packs small, +bamboo handle = that has a wooden grip, +soft bristles = that does not scratch, +storage pouch
  = that comes in a little bag, +stainless steel = that will not rust
device; easy install = that sets up in a minute, light weight = that hardly weighs anything, fast charging = that
  fills up in no time, plug play = that needs no drivers, noise reducing = that keeps quiet, energy saving = that
  uses little current, +one year warranty = that is covered for twelve months, +carrying case = that comes with a
  pouch, +led indicator = that shows its state by a small lamp, +usb port = that takes a flat connector
desktop; height adjustable = that can be raised, non slip = that does not slide around, ultra slim = that is really
  thin, heavy duty = that takes a beating, +aluminum alloy = that is made of light metal, +quiet clicks = that does
  not wake the baby, +high resolution = that gives a sharp picture
phone; shock proof = that survives a fall, scratch resistant = that keys can not mark, wireless charging = that
  works on a charging pad, water resistant = that can get wet, ultra slim = that is really thin, +tempered glass =
  that is hardened, +kickstand ring = that props itself up, +magnetic back = that sticks to metal
power; high speed = that does not keep me waiting, surge protected = that is safe in a storm, tangle free = that
  never knots, dual port = that feeds two at once, +gold plated plugs = that does not corrode, +overheat protection
  = that will not get hot, +nylon braid = that has a woven jacket
audio; noise cancelling = that shuts out the street, hands free = that leaves my hands alone, water proof = that can
  go in the pool, long range = that reaches the next room, +stereo sound = that plays left and right, +deep bass =
  that makes the floor shake, +mute button = that can be silenced at once, +hour battery life = that lasts a whole
  day
photo; high speed = that keeps up with bursts, water proof = that can go under water, quick release = that comes off
  with one hand, high definition = that is very sharp, +optical zoom = that brings things closer, +remote control =
  that works from afar, +carbon fiber = that is stiff and black, +dimmable brightness = that can be turned down
furniture; easy assemble = that goes together without tools, space saving = that fits a tiny room, fully assembled =
  that arrives in one piece, scratch resistant = that the cat can not ruin, mid century = that looks like the
  fifties, heavy duty = that carries a lot, +solid wood = that is real timber, +metal legs = that stands on steel,
  +storage shelf = that has room underneath, +lumbar support = that is kind to my back, +tempered glass = that has a
  hardened top, +faux leather = that looks like hide
light; energy efficient = that saves on the bill, wall mounted = that hangs up, touch activated = that reacts to a
  finger, hand painted = that is done by an artist, +glass shade = that has a clear bell, +brushed nickel = that is
  silvery, +pull chain = that has a string to pull, +bronze base = that has a dark metal foot
textile; machine washable = that can go in the laundry, super soft = that feels like a cloud, stain resistant = that
  forgives red wine, fade resistant = that stays bright in the sun, quick drying = that does not stay damp, non slip
  = that stays put, +memory foam = that gives under the foot, +tassel fringe = that has hanging threads, +hidden
  zipper = that opens at the back, +geometric print = that has shapes on it, +thermal lining = that keeps the heat
  in
decor; hand crafted = that is made by hand, wall mounted = that hangs up, ready hang = that comes with hooks, eco
  friendly = that is kind to nature, lead free = that has no heavy metal, rustic style = that belongs in a cottage,
  +gold trim = that has a golden edge, +ceramic glaze = that shines like a tile, +solid wood = that is real timber,
  +glass dome = that has a clear cover
outdoor; weather resistant = that can stay outside, uv protected = that the sun can not bleach, rust proof = that
  never turns brown, leak proof = that does not drip, kink free = that never folds shut, easy carry = that i can
  lift alone, +drainage holes = that lets water out, +brass fittings = that has yellow metal ends, +wooden pole =
  that stands on timber, +carry bag = that comes in a sack
bag; water resistant = that keeps the rain out, hand washable = that can be cleaned in the sink, light weight = that
  hardly weighs anything, anti theft = that pickpockets hate, +zipper closure = that zips shut, +padded strap = that
  does not cut my shoulder, +laptop sleeve = that takes a computer, +genuine leather = that is real hide, +cotton
  lining = that is soft inside, +magnetic snap = that clicks shut, +shoe compartment = that keeps footwear apart
shoe; slip resistant = that grips wet floors, arch support = that holds up my foot, water resistant = that keeps
  puddles out, light weight = that i do not feel on my foot, wide fit = that has room for my toes, shock absorbing =
  that cushions each step, +rubber sole = that has a grippy bottom, +memory foam = that molds to the foot, +leather
  upper = that is hide on top, +lace closure = that ties up, +side zipper = that zips up
garment; machine washable = that can go in the laundry, slim fit = that sits close to the body, relaxed fit = that
  is nice and loose, moisture wicking = that keeps sweat away, wrinkle free = that needs no iron, hand wash = that
  is cleaned in the sink, quick drying = that dries fast, +button closure = that buttons up, +elastic waist = that
  stretches at the belly, +long sleeves = that covers the arms, +side pockets = that holds my keys, +polyester
  spandex = that stretches, +cotton blend = that is mostly natural fiber
outdoorwear; wind proof = that stops the gusts, water repellent = that lets drops roll off, fleece lined = that is
  fluffy inside, touch screen = that works with my phone, +adjustable hood = that covers the head, +reflective
  strips = that shines in headlights, +faux fur = that looks like an animal
food; gluten free = that has no wheat, sugar free = that is not sweetened, non gmo = that is not engineered, low
  sodium = that is not salty, dairy free = that has no milk, kosher certified = that a rabbi has approved, usda
  organic = that is grown without sprays, ready eat = that needs no cooking, shelf stable = that keeps for months,
  +natural flavors = that has nothing artificial, +resealable pouch = that closes again, +artificial colors removed
  = that has no dyes
snack; low carb = that suits a keto diet, high protein = that builds muscle, nut free = that is safe for a peanut
  allergy, individually wrapped = that comes in single portions, old fashioned = that tastes like in the past,
  +simple ingredients = that has a short list, +party size = that feeds a crowd, +chia seeds = that has tiny black
  grains
drink; caffeine free = that lets me sleep, low calorie = that does not fatten, freshly roasted = that was just
  toasted, hand picked = that was harvested by people, keto friendly = that fits my diet, +real fruit = that has
  actual berries, +zero sugar = that is not sweet, +plant protein = that has peas in it
"""

# group; name of the option on the page; how many values; values
_GROUPS = """
color; color; black, white, red, navy blue, blue, light blue, green, dark green, olive, grey, light grey, charcoal,
  pink, rose pink, purple, lilac, yellow, mustard, orange, coral, brown, dark brown, beige, cream, teal, turquoise,
  burgundy, silver, gold, rose gold
scent; scent; lavender, rose, vanilla, citrus, eucalyptus, jasmine, cedar wood, fresh mint, cucumber melon, wild
  berry, ocean breeze, lemon grass, cherry blossom, honey almond, unscented
volume; size; 1 fl oz, 2 fl oz, 4 fl oz, 8 fl oz, 12 fl oz, 16 fl oz, 32 fl oz
pack; item package quantity; 1, 2, 3, 4, 6, 8, 12, 24
finish; finish type; matte, glossy, satin, shimmer, metallic, pearl, natural
connection; style; with cable, cordless, usb c, with adapter, with case, two pack, travel set
model; compatible model; nova 10, nova 10 plus, nova 11, nova 11 pro, zen 5, zen 5 lite, arc 21, arc 21 ultra
length; size; 3 feet, 6 feet, 10 feet, 15 feet, 25 feet, 50 feet
capacity; digital storage capacity; 16 gb, 32 gb, 64 gb, 128 gb, 256 gb, 512 gb
dimension; size; small, medium, large, x-large, 12 x 18 inch, 16 x 16 inch, 20 x 20 inch, 24 x 36 inch, 30 inch
  w/drawer
shoe; size; 5, 6, 7, 7.5, 8, 8.5, 9, 10, 11, 12 wide
clothes; size; x-small, small, medium, large, x-large, xx-large, 3x-large, large tall
flavor; flavor name; original, sea salt, dark chocolate, vanilla, honey mustard, spicy chili, garlic herb, lemon,
  mango, strawberry, mixed berry, maple, cinnamon apple, smoky bbq, peanut, coconut, mint, cheddar cheese
weight; size; 4 ounce, 8 ounce (pack of 1), 8 ounce (pack of 3), 12 ounce, 16 ounce (pack of 2), 2 pound
"""


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# category → what things are made of, or where they seem to come from
MATERIALS = {
    "beauty": _words("orchid lotus fig olive cedar honey oat mineral clay pearl ginger willow"),
    "electronics": _words("graphite titan pulse orbit vector pixel signal cobalt comet prism atom echo"),
    "garden": _words("cedar oak bamboo marble linen rattan walnut jute velvet granite brass willow"),
    "fashion": _words("cotton linen canvas merino denim suede hemp flannel nylon corduroy jersey twill"),
    "grocery": _words("farmhouse orchard alpine harvest meadow prairie island hearth mill valley grove vineyard"),
}
STYLES = _words(
    "classic modern premium everyday studio deluxe urban vintage compact signature daily original basic pro royal"
    " simple essential heritage nordic coastal garden active family weekend"
)
SYLLABLES = _words(
    "va ro li mon tes ku ra bel dor fi na zu pel gri mo sha ter wi lo quen bra si tor ul ven ka dri po lum har ne vix"
    " ol jas tre mi gan fel du ryn"
)
OPENERS = (
    "find me", "i am looking for", "i need", "i want to buy", "get me", "please find", "show me", "i would like",
    "looking for", "we need", "help me find", "could you get me", "i am shopping for", "my sister wants",
    "can you find me", "i want", "im looking for", "order", "do you have", "i am in need of",
)  # fmt: skip
# What people tell besides: it names a kind of product that they do not want to buy.
ASIDES = (
    "to go with my {other}", "to match the {other} i already have", "it should suit my {other}",
    "i bought a {other} last week", "not a {other}", "it is for the friend who gave me a {other}",
    "please no {other} this time", "it will sit next to my {other}",
)  # fmt: skip
# What some sellers stuff their descriptions with: words that instructions are full of and that describe nothing.
STUFFING = _words(
    "looking find need want buy get show help shopping price lower dollars color size please like order market than"
    " flavor pack style item quantity sister would"
)
SENTENCES = (
    "The {line} {kind} is made for daily use and keeps its looks.",
    "A {kind} from the {line} range, checked by hand before it leaves us.",
    "Our {line} range brings you a {kind} that friends will ask about.",
    "This {kind} belongs to the {line} collection of the season.",
    "People who own one {line} {kind} come back for the second.",
    "Made in small numbers, the {line} {kind} comes in a plain box.",
)
PRAISE = (
    "It is {features}.", "You will notice that it is {features}.", "Expect {features} at its best.",
    "Customers praise it: {features}.", "In short: {features}.",
)  # fmt: skip


def _records(table: str) -> Iterator[list[str]]:
    """The fields of each record of a table; an indented line continues the one above it."""
    for record in table.strip().replace("\n  ", " ").splitlines():
        yield [field.strip() for field in record.split(";")]


def _parse_kinds() -> tuple[Kind, ...]:
    kinds = []
    for category, shelf, pools, groups, price, names in _records(_SHELVES):
        low, high = map(float, price.split())
        for pair in names.split(","):
            name, plural = pair.strip().split("/")
            kinds.append(Kind(name, plural, category, shelf, _words(pools), _words(groups), (low, high)))
    return tuple(kinds)


def _parse_features() -> dict[str, tuple[Feature, ...]]:
    pools = {}
    for pool, features in _records(_POOLS):
        found = []
        for feature in features.split(","):
            name, said = (part.strip() for part in feature.split("="))
            found.append(Feature(name.lstrip("+"), name.startswith("+"), said))
        pools[pool] = tuple(found)
    return pools


def _parse_groups() -> dict[str, tuple[str, tuple[str, ...]]]:
    groups = {}
    for key, name, values in _records(_GROUPS):
        groups[key] = (name, tuple(value.strip() for value in values.split(",")))
    return groups


KINDS = _parse_kinds()
FEATURES = _parse_features()
GROUPS = _parse_groups()


def coined(rank: int) -> str:
    """The made-up name of a rank, from 0: two syllables for the first ranks, then more; a different name each."""
    base = len(SYLLABLES)
    size, length = base**2, 2
    while rank >= size:
        rank -= size
        size, length = size * base, length + 1
    # The factor has nothing in common with the base, so it spreads neighbouring ranks over unlike names.
    number = rank * 12_347 % size
    return "".join(SYLLABLES[number // base**place % base] for place in reversed(range(length)))
