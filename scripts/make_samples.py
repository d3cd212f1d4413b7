#!/usr/bin/env python3
"""Writes samples/wordnet.jsonl from WordNet 3.0: `make_samples.py FOLDER`.

FOLDER holds WordNet's files index.noun and data.noun. On Debian: `apt-get download wordnet-base`,
`dpkg-deb -x wordnet-base_*.deb wordnet`, and it is wordnet/usr/share/wordnet.
"""

import json
import sys
from pathlib import Path

OUTPUT = Path(__file__).resolve().parent.parent / "samples" / "wordnet.jsonl"

# A word stands for its first sense as a noun, or for the sense after the slash.
WORDS = """
planet terrestrial_planet Jovian_planet Mercury/3 Venus Earth Mars Jupiter Saturn Uranus/2 Neptune/2
Pluto/3 sun moon asteroid comet meteorite galaxy/3 Milky_Way black_hole supernova pulsar
constellation/2 satellite orbit gravity light_year cosmic_background_radiation big_bang_theory
space_shuttle atom photon nuclear_fusion isotope entropy/2 quantum_mechanics superconductivity laser
microwave radioactivity crystal alloy oxygen helium carbon mercury gold/3 salt acid catalyst
photosynthesis enzyme protein deoxyribonucleic_acid gene chromosome mitochondrion natural_selection
symbiosis hibernation metamorphosis virus bacteria antibiotic vaccine penicillin insulin hormone
antibody diabetes malaria jet_lag placebo heart/2 liver retina cerebellum hippocampus skeleton/3
algorithm prime_number derivative fractal probability topology/3 compiler/2 virus/3 operating_system
cryptography artificial_intelligence search_engine neural_network internet pixel mouse/4
semiconductor blue_whale dolphin/2 sea_otter giant_panda kangaroo platypus koala giraffe chimpanzee
camel African_elephant hippopotamus cheetah snow_leopard red_fox/3 wolf hedgehog beaver/7 bat mouse
Siamese_cat penguin ostrich/2 albatross/2 hummingbird flamingo kiwi/4 peacock/2 barn_owl nightingale
salmon seahorse/2 great_white_shark octopus/2 jellyfish/2 starfish coral/4 lobster/2 ladybug
dragonfly monarch_butterfly chameleon/3 crocodile rattlesnake giant_tortoise bullfrog
Tyrannosaurus_rex trilobite mammoth oak/2 sequoia bamboo/2 baobab cactus orchid sunflower truffle
maize volcano earthquake tsunami hurricane tornado aurora/2 rainbow monsoon tide delta tundra
coral_reef estuary fjord geyser stalactite greenhouse_effect ozone_layer renewable_resource bread
cheddar/2 butter paella sushi curry ratatouille guacamole cinnamon/3 saffron vanilla coffee tea
champagne pomegranate avocado kiwi/3 potato artichoke hammer/2 lathe sextant/2 seismograph
microscope stethoscope abacus/2 sundial pendulum kaleidoscope/2 periscope prism/2 hologram radar
sonar centrifuge boomerang parachute kite/3 typewriter steam_engine battery/2 locomotive hovercraft
hot-air_balloon helicopter lighthouse suspension_bridge pagoda flying_buttress Paris Venice Kyoto
Timbuktu Himalayas Mount_Everest Sahara Amazon/3 Nile Great_Barrier_Reef Panama_Canal Stonehenge
Great_Wall_of_China Machu_Picchu Taj_Mahal curiosity gratitude awe regret empathy courage hypnosis
deja_vu democracy constitution habeas_corpus jury alibi arbitration inflation monopoly bankruptcy/3
dividend stock_exchange insurance sonata fugue/3 opera jazz/2 haiku sonnet metaphor irony/3 paradox
palindrome encyclopedia Odyssey/2 utopia hieroglyph/2 Rosetta_Stone violin piano bagpipe
Impressionism mosaic origami chess/2 marathon/2 baseball cricket/2 fencing/3 judo yoga/2
Olympic_Games Renaissance Magna_Carta Black_Death Silk_Road Einstein Darwin Curie/3 Galileo Newton
Leonardo Shakespeare Mozart Gandhi/2 Aristotle
""".split()


def passage(choice, index, data):
    """One line of the output: the word as WordNet spells it, a colon, its gloss."""
    word, _, sense = choice.partition("/")
    fields = index[word.lower()]
    offsets = fields[-int(fields[2]):]
    offset = offsets[int(sense or 1) - 1]
    data.seek(int(offset))
    head, gloss = data.readline().decode("ascii").split(" | ")
    fields = head.split()
    spellings = fields[4 : 4 + 2 * int(fields[3], 16) : 2]
    lemma = next(each for each in spellings if each.lower() == word.lower())
    text = f"{lemma.replace('_', ' ')}: {gloss.strip()}"
    return json.dumps({"id": f"{lemma.lower()}.n.{offset}", "text": text})


def main():
    folder = Path(sys.argv[1])
    with open(folder / "index.noun", encoding="ascii") as lines:
        index = {fields[0]: fields for fields in map(str.split, lines)}
    with open(folder / "data.noun", "rb") as data:
        lines = [passage(choice, index, data) for choice in WORDS]
    OUTPUT.write_text("\n".join(lines) + "\n", encoding="ascii")


main()
